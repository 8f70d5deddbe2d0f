# No Python interface: other compiled modules use it (see served_blocks.pxd).
