"""The local attention of the detail branch: one signature, several backends, same result."""
