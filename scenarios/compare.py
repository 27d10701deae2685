"""REST and gRPC alternate on one schedule: each pair has the same sentence, in random order.

locust -f scenarios/compare.py --headless -u 32 -t 2m --arrivals poisson:rate=20
locust -f scenarios/compare.py --headless -u 32 -t 2m --host http://localhost:8501 --grpc-host localhost:8500
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["compare"])


class CompareUser(BertUser):
    pass
