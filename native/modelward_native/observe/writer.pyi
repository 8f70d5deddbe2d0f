# No Python interface: other compiled modules use it (see writer.pxd).
