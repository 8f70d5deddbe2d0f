# No Python interface of its own: native.pipeline.Server is one (see state.pxd).
