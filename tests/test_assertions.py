"""Every test asserts something."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """The functions in a module, at any depth."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def calls(function: Function) -> set[str]:
    """The last names of what a function calls."""
    called = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return {
        func.attr if isinstance(func, ast.Attribute) else func.id
        for func in called
        if isinstance(func, ast.Attribute | ast.Name)
    }


def asserts(function: Function) -> bool:
    """Whether a function itself asserts: a statement, `pytest.raises` and the like, or numpy's `assert_...`."""
    return any(isinstance(node, ast.Assert) for node in ast.walk(function)) or any(
        name in ("raises", "warns", "fail") or name.startswith("assert_") for name in calls(function)
    )


def test_every_test_asserts() -> None:
    found = [
        (path, function)
        for path in sorted(TESTS.rglob("*.py"))
        for function in functions(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert len(found) > 1000
    # Helpers that assert, by name: a test may leave it to one of them.
    helpers = {function.name for _, function in found if asserts(function) and not function.name.startswith("test_")}
    silent = [
        f"{path.relative_to(TESTS)}::{function.name}"
        for path, function in found
        if function.name.startswith("test_") and not asserts(function) and not calls(function) & helpers
    ]
    assert silent == []


def test_the_check_sees_what_asserts_nothing() -> None:
    (silent,) = functions(ast.parse("def test_x():\n    run(1)\n"))
    (loud,) = functions(ast.parse("def test_x():\n    with pytest.raises(ValueError):\n        run(1)\n"))
    assert not asserts(silent)
    assert asserts(loud)
