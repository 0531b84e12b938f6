# An executable file of this name switches on the driver's tweak persistent-cdrom; nobody reads what is in it.
# `storpool-addon tweaks list` shows all of them. To switch it off, remove the file or its mode x.
