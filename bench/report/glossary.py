"""The terms of a page that not every reader knows: explained where they first stand, and in a section of their own."""

import re
from typing import Final

from markupsafe import Markup, escape

TERMS: Final = {
    "VALID": "The load generator did not distort the figures, and the run was steady. Rules with limits decide it.",
    "INVALID": "The load generator distorted the figures, or the run was not steady: they must decide nothing.",
    "from due": "Latency counted from the moment at which the request was to be sent by the schedule, so that a wait "
    "in the client counts.",
    "from send": "Latency counted from the first byte sent: what the server and the network took.",
    "Estimator": "The TensorFlow Estimator that the served model was exported from. Its probabilities were stored with "
    "the export, and every answer is compared with them.",
    "offered load": "The rate of requests that the schedule asks for, whether or not the server keeps up.",
    "drift": "A wrong answer: a probability lies farther from the Estimator's than the tolerance of the export.",
    "swap": "A wrong answer: the right one of another request.",
    "truncated": "A wrong answer: values are missing.",
    "shape": "A wrong answer: not the numbers of a language model, or too many.",
    "not finite": "A wrong answer: a value is NaN or infinite.",
    "effective n": "The number of independent values that an interval is based on: latencies of requests that queue "
    "together are correlated.",
    "N = X·R": "Little's law: requests in flight = throughput × time in the system. Where it does not hold, requests "
    "were counted or timed wrongly.",
    "backlog": "Requests that are due and have not ended.",
    "event-loop lag": "How late the load generator gets to what it has to do: work that waits for its processor.",
    "~": "A change that may be noise: its interval includes no change.",
}
"""In the order of the page."""

_ANY: Final = re.compile(
    "|".join(rf"(?<![\w-]){re.escape(term)}(?![\w-])" for term in sorted(TERMS, key=len, reverse=True))
)


def explained(text: str) -> Markup:
    """`text` as HTML, each term with its explanation under the pointer where it stands first."""
    seen: set[str] = set()
    parts, end = [], 0
    for found in _ANY.finditer(text):
        if found[0] not in seen:
            seen.add(found[0])
            parts += [escape(text[end : found.start()]), _explained(found[0])]
            end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def _explained(term: str) -> Markup:
    return Markup('<abbr title="{}">{}</abbr>').format(TERMS[term], term)


def terms_section(html: str) -> Markup:
    """The section with the terms that a page explains under the pointer, for readers without one; "" without any."""
    there = set(re.findall(r'<abbr title="[^"]*">([^<]*)</abbr>', html))
    rows = [Markup("<dt>{}</dt><dd>{}</dd>").format(term, meaning) for term, meaning in TERMS.items() if term in there]
    if not rows:
        return Markup("")
    return Markup('<section id="terms"><h2>Terms</h2><dl class="terms">{}</dl></section>').format(Markup("").join(rows))
