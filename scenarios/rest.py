"""REST: sentences to `:predict`, every answer compared with the Estimator's.

locust -f scenarios/rest.py --headless -u 8 -t 60s
locust -f scenarios/rest.py --headless -u 64 -t 60s --arrivals poisson:rate=50 --host http://localhost:8501
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["rest"])


class RestUser(BertUser):
    pass
