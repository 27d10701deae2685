"""Whether a server holds the model whose golden answers are at hand, asked before its answers are used."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.bert.contract.golden import Golden
from bench.bert.contract.golden_checker import GoldenChecker
from bench.bert.contract.masked_requests import score_request
from bench.core.errors import TargetError, WrongAnswerError
from bench.serving.errors import Rejected, ServingError
from bench.serving.types import ServingClient

SENTENCES: Final = 4
"""Golden sentences that are asked. A server that answers 1 % wrongly fails on all of them once in 10^8 starts."""

# How REST and gRPC say that a request does not fit the model.
INVALID: Final = ("400", "INVALID_ARGUMENT")


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

    def require_same_model(self, client: ServingClient, target: str, timeout: float, *, accepted: bool = False) -> None:
        """Asks for a few golden sentences, and refuses a server that answers all of them with other probabilities.

        If a request fails otherwise, nothing is concluded: a server that does not answer is the run's to judge.

        Args:
            client: connected to the server.
            target: what the user calls it.
            timeout: seconds for each request.
            accepted: whether a server that finds all of these requests invalid is refused too.

        Raises:
            WrongAnswerError: the server holds another model.
            TargetError: it finds all requests invalid: most often the model is smaller, or has no such signature.
        """
        differing, invalid = self._asked(client, timeout)
        if invalid is not None and accepted:
            raise TargetError(
                f"{target} refuses the golden sentences of {self.export}, so it holds another model; give the "
                "--model-dir of the export that is served there, or --no-preflight to use that server all the same "
                f"({invalid})"
            )
        if differing and all(differing):
            raise WrongAnswerError(
                f"{target} holds another model than {self.export}: {len(differing)} of {len(differing)} golden "
                "sentences got other probabilities; give the --model-dir of the export that is served there, or "
                "--no-preflight to use that server all the same"
            )

    def _asked(self, client: ServingClient, timeout: float) -> tuple[list[bool], ServingError | None]:
        """For each sentence, whether the answer is wrong; none if a request fails. The refusal if all are invalid."""
        count = len(self.golden.sentences)
        chosen = sorted({int(index) for index in np.linspace(0, count - 1, min(SENTENCES, count))})
        checker = GoldenChecker(self.golden, [(index,) for index in chosen], self.signature)
        shape = self.golden.fixed.shape if self.golden.fixed else None
        found: list[bool] = []
        invalid: ServingError | None = None
        for position, index in enumerate(chosen):
            sentences = [self.golden.sentences[index].sentence]
            request = score_request(sentences, self.golden.special, self.signature, shape, self.model)
            try:
                outputs = client.predict(request, timeout).outputs
            except Rejected as error:
                if error.code not in INVALID or found:
                    return [], None
                invalid = error
            except ServingError:
                return [], None
            else:
                if invalid is not None:
                    return [], None
                found.append(checker.check(position, outputs) is not None)
        return found, invalid


def export_name(model_dir: object) -> str:
    """How a message calls an export: the folder that was given, or what is meant where none is."""
    return str(model_dir) if model_dir is not None else "the demo model (which is meant without --model-dir)"
