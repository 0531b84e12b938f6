"""StorPool's API calls by subject; `storpool_addon.storpool.Api` is all of them."""
