"""JUnit XML as CI systems read it: one suite with its cases."""

import re
from typing import Final
from xml.etree import ElementTree

# Characters that XML 1.0 does not allow; a server may write anything into its log.
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Suite:
    """A suite of tests.

    Args:
        name: of the suite.
        classname: of its cases.
        seconds: that it took.
    """

    def __init__(self, name: str, classname: str, seconds: float) -> None:
        self._element = ElementTree.Element("testsuite", name=_xml(name), time=f"{seconds:.3f}")
        self._classname = classname

    def case(self, name: str, seconds: float = 0.0) -> "Case":
        """Adds a case, which has passed unless it is told otherwise."""
        attributes = {"classname": self._classname, "name": _xml(name), "time": f"{seconds:.3f}"}
        return Case(ElementTree.SubElement(self._element, "testcase", attributes))

    def to_bytes(self) -> bytes:
        """The file's bytes."""
        for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            self._element.set(attribute, str(len(self._element.findall(f"testcase/{kind}"))))
        self._element.set("tests", str(len(self._element.findall("testcase"))))
        root = ElementTree.Element("testsuites")
        root.append(self._element)
        ElementTree.indent(root)
        found: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        return found + b"\n"


class Case:
    """One test; made by `Suite.case`."""

    def __init__(self, element: ElementTree.Element) -> None:
        self._element = element

    def fail(self, message: str, text: str = "") -> None:
        """It failed; `text` is what is shown below the message, by default the message."""
        self._problem("failure", message, text)

    def error(self, message: str, text: str = "") -> None:
        """It has no result."""
        self._problem("error", message, text)

    def skip(self, message: str) -> None:
        """It was not made."""
        ElementTree.SubElement(self._element, "skipped", message=_xml(message))

    def output(self, text: str) -> None:
        """What it printed."""
        ElementTree.SubElement(self._element, "system-out").text = _xml(text)

    def _problem(self, kind: str, message: str, text: str) -> None:
        message = _xml(message)
        ElementTree.SubElement(self._element, kind, message=message, type=kind).text = _xml(text) or message


def _xml(text: str) -> str:
    return _NOT_XML.sub("?", text)
