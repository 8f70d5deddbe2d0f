# No Python interface of its own: modelward_native.request.pipeline.Server is one (see state.pxd).
