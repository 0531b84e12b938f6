"""One module for each tweak; `storpool_addon.domain.tweaking` finds them by name."""
