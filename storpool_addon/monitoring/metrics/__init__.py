"""What `storpool-addon exporter` shows, out of files that others have written: StorPool is not asked."""
