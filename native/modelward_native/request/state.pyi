# No Python interface of its own: modelward_native.request.server.Server is one (see state.pxd).
