"""Whether a server holds the model whose golden answers are at hand, asked before its answers are used."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.bert.contract.golden import Golden
from bench.bert.contract.golden_checker import GoldenChecker
from bench.bert.contract.masked_requests import score_request
from bench.core.errors import WrongAnswerError
from bench.serving.errors import ServingError
from bench.serving.types import ServingClient

SENTENCES: Final = 4
"""Golden sentences that are asked. A server that answers 1 % wrongly fails on all of them once in 10^8 starts."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """The model that a server should hold.

    Args:
        golden: its golden answers.
        signature: the signature that is going to be asked.
        model: its name on the server.
        export: where the golden answers come from, for people.
    """

    golden: Golden
    signature: str
    model: str
    export: str

    def require_same_model(self, client: ServingClient, target: str, timeout: float) -> None:
        """Asks for a few golden sentences, and refuses a server that answers all of them with other probabilities.

        If a request fails, nothing is concluded: a server that does not answer is the run's to judge.

        Args:
            client: connected to the server.
            target: what the user calls it.
            timeout: seconds for each request.

        Raises:
            WrongAnswerError: the server holds another model.
        """
        differing = self._differing(client, timeout)
        if differing and all(differing):
            raise WrongAnswerError(
                f"{target} holds another model than {self.export}: {len(differing)} of {len(differing)} golden "
                "sentences got other probabilities; give the --model-dir of the export that is served there, or "
                "--no-preflight to use that server all the same"
            )

    def _differing(self, client: ServingClient, timeout: float) -> list[bool]:
        """For each sentence, whether the answer is wrong; nothing if a request fails."""
        count = len(self.golden.sentences)
        chosen = sorted({int(index) for index in np.linspace(0, count - 1, min(SENTENCES, count))})
        checker = GoldenChecker(self.golden, [(index,) for index in chosen], self.signature)
        shape = self.golden.fixed.shape if self.golden.fixed else None
        found: list[bool] = []
        for position, index in enumerate(chosen):
            sentences = [self.golden.sentences[index].sentence]
            request = score_request(sentences, self.golden.special, self.signature, shape, self.model)
            try:
                outputs = client.predict(request, timeout).outputs
            except ServingError:
                return []
            found.append(checker.check(position, outputs) is not None)
        return found


def export_name(model_dir: object) -> str:
    """How a message calls an export: the folder that was given, or what is meant where none is."""
    return str(model_dir) if model_dir is not None else "the demo model (which is meant without --model-dir)"
