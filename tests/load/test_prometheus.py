from bench.load.monitor.prometheus import read_page

PAGE = """
# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="bert",status="OK"} 73
:tensorflow:serving:request_count{model_name="bert",status="NOT_FOUND"} 4
:tensorflow:serving:request_count{model_name="bert",status="INVALID_ARGUMENT"} 80
:tensorflow:serving:request_count{model_name="other",status="OK"} 1000
# TYPE :tensorflow:serving:request_latency histogram
:tensorflow:serving:request_latency_bucket{model_name="bert",API="Predict",entrypoint="GRPC",le="10"} 5
:tensorflow:serving:request_latency_bucket{model_name="bert",API="Predict",entrypoint="GRPC",le="+Inf"} 17
:tensorflow:serving:request_latency_sum{model_name="bert",API="Predict",entrypoint="GRPC"} 13165
:tensorflow:serving:request_latency_count{model_name="bert",API="Predict",entrypoint="GRPC"} 17
:tensorflow:serving:request_latency_sum{model_name="bert",API="Classify",entrypoint="GRPC"} 999999
:tensorflow:serving:request_latency_sum{model_name="bert",API="predict",entrypoint="REST"} 31858
:tensorflow:serving:request_latency_count{model_name="bert",API="predict",entrypoint="REST"} 40
:tensorflow:serving:runtime_latency_sum{model_name="bert",API="Predict",runtime="TF1"} 38592
:tensorflow:serving:runtime_latency_count{model_name="bert",API="Predict",runtime="TF1"} 57
:tensorflow:serving:batching_session:queuing_latency_sum{} 2000
:tensorflow:serving:batching_session:queuing_latency_count{} 4
:tensorflow:serving:batching_session:wrapped_run_count 3
:tensorflow:serving:batching_session:processed_batch_size_sum{model_name="bert"} 48
:tensorflow:serving:batching_session:padding_size_sum{model_name="bert"} 5
:tensorflow:serving:model_warmup_latency_sum{model_path="x",status="OK"} 5
:tensorflow:core:saved_model:read:count{write_version="2"} 1
process_cpu 3
"""


def test_serving_s_counters_in_base_units() -> None:
    assert read_page(PAGE, "bert") == {
        "requests_ok": 73.0,
        "requests_failed": 84.0,
        "grpc_seconds": 0.013165,
        "grpc_count": 17.0,
        "rest_seconds": 0.031858,
        "rest_count": 40.0,
        "runtime_seconds": 0.038592,
        "runtime_count": 57.0,
        "queue_seconds": 0.002,
        "queue_count": 4.0,
        "batch_count": 3.0,
        "batch_rows": 43.0,
    }


def test_what_is_not_there_is_absent() -> None:
    assert read_page("", "bert") == {}
    assert read_page("<html>Not Found</html>", "bert") == {}
    assert read_page(':tensorflow:serving:request_count{model_name="bert",status="OK"} x', "bert") == {}


def test_what_no_counter_can_be_is_left_out() -> None:
    lines = [
        f':tensorflow:serving:request_count{{model_name="bert",status="OK"}} {value}' for value in ("+Inf", "-3", 5)
    ]
    assert read_page("\n".join(lines), "bert") == {"requests_ok": 5}
    assert read_page(lines[0], "bert") == {}
