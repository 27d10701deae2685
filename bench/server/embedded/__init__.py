"""The embedded server: TensorFlow Serving's contract without a container, run as `python -m bench.server.embedded`.

From the bottom up: `base/` has status codes and metrics; `runtime/` the TensorFlow runtime, its tensors and the
threads of a run; `config/` flags and configuration files; `models/` loaded versions, batching and the versions of one
model; `api/` the answers to Predict, Classify, Regress and metadata requests; `manager/` all models, which it loads
and finds for requests; `net/` sockets and HTTP/1; `rest/` and `grpc/` the endpoints; `server` puts it together.
"""
