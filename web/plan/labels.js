// The panel's words, in the languages that the pack is written in. What the server says comes in
// English with its key and values (atlasvid_core/verdict.py), for the other languages.

const EN = {
  stages: {
    read: "Video to proxy", proxy: "Stage 1, proxy", guide: "Guide", enlarge: "Proxy enlarged",
    detail: "Stage 2, detail", decode: "Decode",
  },
  bars: { device: "VRAM", host: "RAM", output: "Disk, output", temp: "Disk, temp" },
  facts: { video: "Video", proxy: "Proxy", cubes: "Cubes", ratio: "Attention" },
  hints: {
    video: "Tokens are what the model works on: one is 4 frames of 16 × 16 px",
    proxy: "The whole video made small, with r_t times fewer frames: it guides stage 2",
    cubes: "Stage 2 cuts the video into cubes: how many, of how many tokens (time × height × width)",
    ratio: "Work of attention, against every token seeing every other",
    picture: "The frame in cubes, and time below it; click to choose one. Blue: what it sees of the " +
      "video. Dashed: what it sees of the proxy. Amber: smaller cubes at the border",
  },
  sources: {
    file: "read off the file that the workflow loads",
    name: "by the name of the file that the workflow loads",
    chosen: "chosen here",
    unknown: "since the file that the workflow loads tells no size: choose the model in this panel",
    default: "since the workflow shows no model file",
  },
  fits: "Fits this machine", refused: "Needs a change", tooMuch: "Does not fit",
  failed: "No figures", set: "Set", once: "once",
  landscape: "Landscape", portrait: "Portrait", measuring: "measuring this machine …",
  bound: (device) => `A lower bound: every operation as fast as a large matrix product (${device})`,
  proxyWidth: "proxy width",
  wanFrames: "Wan takes 4k + 1 frames", wanSides: "Wan works in steps of 16 px",
  steps: (n) => `${n} steps`,
  seconds: (n) => `${n} s`,
  length: (n) => `${n} seconds at the plan's fps, in 4k + 1 frames`,
  atLeast: (time, cpu) => `at least ${time}${cpu ? " on the CPU" : ""}`,
  tokens: (n) => `${n} tokens`,
  less: (factor) => `${factor} less`,
  stepLess: (factor) => `a whole step ${factor} less`,
  most: (stage) => `most in ${stage}`,
  model: (name, how) => `These figures are for ${name}, ${how}`,
  cubes: (count, size) => `${count} of ${size}`,
  cube: (at, own, near, proxy) =>
    `Cube ${at}: its ${own} tokens see ${near} of the video, ${proxy} of the proxy`,
  linked: (name, node) =>
    `${node ? `${name} of ${node}` : name} comes through a link: shown is its widget's value.`,
  moved: (name, given, used, why) => `${name} ${given} → ${used}: ${why}.`,
  noAnswer: (why) => `${why}. The plan itself works; its summary output says the same.`,
  sentences: (...texts) => texts.map((text) => (text.endsWith(".") ? text : `${text}.`)).join(" "),
  told: ({ text }) => text,
};

const FOLDERS = { output: "输出", temp: "临时" };
const INPUTS = { width: "宽度", height: "高度", frames: "帧数", proxy_height: "代理高度" }; // as on the node
const named = (name) => INPUTS[name] ?? name;
const listed = (inputs) => inputs.replace(/, | and /g, "、").replace(/[a-z_]+/g, named);
const ZH_TOLD = {
  host: ({ stage, need }) => `${ZH.stages[stage]}需要 ${need} 内存`,
  device: ({ stage, need }) => `${ZH.stages[stage]}在权重之外还需要 ${need} 显存`,
  offload: ({ stage }) => `${ZH.stages[stage]}时显存放不下全部权重：一部分留在内存中，速度较慢`,
  disk: ({ folder, need, have }) => `ComfyUI 的${FOLDERS[folder]}文件夹需要 ${need}，可用 ${have}`,
  proxy_frames: ({ frames, trained, r_t }) =>
    `代理有 ${frames} 帧，而 Wan2.1 按 ${trained} 帧训练。r_t 设为 ${r_t} 即可`,
  short_proxy: ({ now, frames, trained, r_t, better }) =>
    `r_t 为 ${now} 时代理只有 ${frames} 帧，且未用阶段一 LoRA；Wan2.1 按 ${trained} 帧训练。` +
    `r_t 设为 ${r_t} 可得 ${better} 帧`,
  to_file: () => "请用 TiledVAEDecodeToVideo 解码，它一次只保留几帧",
  guide_on_disk: () => "请将 ScaledRoPEAligner 的存放位置（store）设为 disk",
  budget: () => "请将 LocalityPreservingPatch 的显存预算（memory_budget）设为 0（自动）",
  keep_steps: () => "请将 DetailJointSampler 的保留步骤（keep_steps）设为 false",
  smaller: ({ inputs }) => `改为 ${listed(inputs)} 即可`,
  also_smaller: ({ inputs }) => `并改为 ${listed(inputs)} 即可`,
  or_smaller: ({ inputs }) => `或改为 ${listed(inputs)} 即可`,
  free_disk: ({ folder }) => `请在 ComfyUI 的${FOLDERS[folder]}文件夹腾出空间，或制作较小的视频`,
  weights: ({ need }) => `仅模型权重就占 ${need}：请选择较小的模型或 fp8 文件`,
  least: () => "请选择较小或较短的视频，或较小的模型",
};

const ZH = {
  stages: {
    read: "视频转代理", proxy: "阶段一，代理", guide: "引导", enlarge: "放大代理", detail: "阶段二，细节",
    decode: "解码",
  },
  bars: { device: "显存", host: "内存", output: "磁盘，输出", temp: "磁盘，临时" },
  facts: { video: "视频", proxy: "代理", cubes: "立方块", ratio: "注意力" },
  hints: {
    video: "token 是模型处理的单位：一个 token 为 4 帧 16 × 16 像素",
    proxy: "整段视频的缩小版，帧数为 1/r_t：它引导阶段二",
    cubes: "阶段二把视频切成立方块：块数与每块的 token 数（时间 × 高 × 宽）",
    ratio: "注意力的计算量，与每个 token 都看到全部 token 相比",
    picture: "切成立方块的画面，下方为时间，点击可选择。蓝色：所见的视频部分；" +
      "虚线：所见的代理部分；琥珀色：边缘较小的立方块",
  },
  sources: {
    file: "读自工作流载入的文件",
    name: "按工作流载入的文件名",
    chosen: "在此选择",
    unknown: "因为工作流载入的文件未说明模型大小：请在此面板中选择模型",
    default: "工作流中未见模型文件，按此假定",
  },
  fits: "本机可运行", refused: "需要修改", tooMuch: "本机放不下",
  failed: "没有数据", set: "应用", once: "一次",
  landscape: "横向", portrait: "纵向", measuring: "正在测量本机……",
  bound: (device) => `下限：假定每项运算都与大矩阵乘法一样快（${device}）`,
  proxyWidth: "代理宽度", wanFrames: "Wan 的帧数须为 4k + 1", wanSides: "Wan 的边长须为 16 的倍数",
  steps: (n) => `${n} 步`,
  seconds: (n) => `${n} 秒`,
  length: (n) => `按规划的 fps 为 ${n} 秒，帧数为 4k + 1`,
  atLeast: (time, cpu) => `${cpu ? "用 CPU " : ""}至少 ${time}`,
  tokens: (n) => `${n} 个 token`,
  less: (factor) => `减少到 1/${factor.replace("×", "")}`,
  stepLess: (factor) => `整步减少到 1/${factor.replace("×", "")}`,
  most: (stage) => `最多在：${stage}`,
  model: (name, how) => `数据对应 ${name}，${how}`,
  cubes: (count, size) => `${count}，每块 ${size}`,
  cube: (at, own, near, proxy) => `立方块 ${at}：其 ${own} 个 token 可见视频 ${near} 个、代理 ${proxy} 个`,
  linked: (name, node) =>
    `${node ? `${node} 的 ${name}` : named(name)} 由连线给出：此处显示的是控件的值。`,
  moved: (name, given, used, why) => `${named(name)} ${given} → ${used}：${why}。`,
  noAnswer: (why) => `${why}。规划本身可用，摘要输出给出同样的内容。`,
  sentences: (...texts) => texts.map((text) => (/[。.]$/.test(text) ? text : `${text}。`)).join(""),
  told: ({ text, key, values }) => ZH_TOLD[key]?.(Object.fromEntries(values)) ?? text,
};

export const LABELS = { en: EN, zh: ZH };
