"""The embedded server: TensorFlow Serving's contract without a container, run as `python -m bench.server.embedded`.

From the bottom up: `status` and `tensors`; `capi` and `session` hold the TensorFlow runtime, `model_runtime` chooses
the threads of its runs; `servable` is one loaded version, `batching` and `warmup` go with it; `model` keeps the right
versions of a model loaded, `core` does so for all models and finds them for requests; `predict`, `examples` and
`metadata` answer requests; the `json_*` modules and `rest` on `socket_server` are REST, `wire`, `grpc_protocol` and
`grpc_methods` gRPC; `flags`, `configs` and `server` put it together.
"""
