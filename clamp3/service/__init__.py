"""Search over HTTP, and a page: one warm model, an index, and whoever asks."""
