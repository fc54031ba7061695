// The few words that our page code shows, in the languages that the pack is written in.

const WORDS = {
  en: {
    kept: "kept", peak: "peak", start: "start", guide: "guide", sampling: "sampling", copy: "copy",
    proxy: "proxy", detail: "detail", frame: "frame",
    wipe: "Wipe", difference: "Difference", onlyProxy: "Proxy", onlyDetail: "Detail",
    play: "Play or pause (space)", back: "One frame back (left arrow)",
    on: "One frame on (right arrow)", whole: "Whole picture (0)", actual: "Actual pixels (1)",
    full: "Full screen (F)", mode: "What is shown (M)", speed: "Speed",
    scrub: "Frame", empty: "Run the workflow to compare its two videos.",
    loading: "Loading the videos …",
    gone: "is no longer there. ComfyUI clears its temp folder when it starts: run the workflow again.",
    refused: "is not given out by the server; its log may say why. Save it under another name, or in another folder.",
    unanswered: "can't be fetched: the server does not answer. Reload the page once it is back.",
    unplayable: "can't be played by this browser. SaveVideo keeps it for another player.",
    smaller: "shown smaller",
  },
  zh: {
    kept: "沿用", peak: "峰值", start: "起点", guide: "引导", sampling: "采样", copy: "副本",
    proxy: "代理", detail: "细节", frame: "帧",
    wipe: "划像", difference: "差异", onlyProxy: "代理", onlyDetail: "细节",
    play: "播放或暂停（空格）", back: "后退一帧（左箭头）", on: "前进一帧（右箭头）",
    whole: "完整画面（0）", actual: "实际像素（1）", full: "全屏（F）", mode: "显示方式（M）",
    speed: "速度", scrub: "帧", empty: "运行工作流后即可对比两个视频。",
    loading: "正在载入视频……",
    gone: "已不存在。ComfyUI 启动时会清空临时文件夹：请重新运行工作流。",
    refused: "服务器不予提供；原因或见其日志。请换个名称或文件夹保存。",
    unanswered: "无法取得：服务器没有响应。待其恢复后请重新载入页面。",
    unplayable: "无法在此浏览器中播放。可用 SaveVideo 保存后在其他播放器中观看。",
    smaller: "缩小显示",
  },
};

/** "en", "zh": the page's language without its country. */
export function languageOf(app) {
  let locale = "en";
  try {
    locale = app.ui.settings.getSettingValue("Comfy.Locale") || navigator.language || "en";
  } catch { /* a host without that setting */ }
  return String(locale).toLowerCase().split("-")[0];
}

/** Of `{en, zh}` the page's language; English where there is no other. */
export function inLanguage(app, words) {
  return words[languageOf(app)] ?? words.en;
}

export const wordsOf = (app) => inLanguage(app, WORDS);
