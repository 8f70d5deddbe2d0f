import os

# ONNX Runtime would note what it does in a database of its own and send it to its makers; read when it is loaded
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# gRPC's core would print lines of its own to stderr, which are not in the form of our log; read when it is loaded
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
