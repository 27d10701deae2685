"""gRPC: sentences to PredictionService/Predict, every answer compared with the Estimator's.

locust -f scenarios/grpc_api.py --headless -u 8 -t 60s
locust -f scenarios/grpc_api.py --headless -u 64 -t 60s --arrivals poisson:rate=50 --host localhost:8500
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["grpc"])


class GrpcUser(BertUser):
    pass
