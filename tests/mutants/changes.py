"""Which mutants there are: every place of a module where an operator applies, and the source with that one change."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tests.mutants.equivalents import Change

# For each operator of the language the changes that are easily overlooked, and not all of the eleven others: a test
# that tells + from - tells it from ^ as well. Not among them is |, which stands in types only.
_BY_COSMIC_RAY: Final = (
    "AddNot",
    "NumberReplacer",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ZeroIterationForLoop",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_FloorDiv",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_FloorDiv_Div",
    "ReplaceBinaryOperator_Mod_FloorDiv",
    "ReplaceBinaryOperator_Pow_Mul",
    "ReplaceBinaryOperator_LShift_RShift",
    "ReplaceBinaryOperator_RShift_LShift",
    "ReplaceBinaryOperator_BitAnd_BitOr",
)

# Statements that do something besides giving a value to a name of the function, without which it could not run on.
_ACTS: Final = ("atom_expr", "power", "del_stmt", "raise_stmt")

_STATEMENTS: Final = ("simple_stmt", "if_stmt", "while_stmt", "for_stmt", "with_stmt", "try_stmt", "assert_stmt")


class RemoveStatement:
    """Leaves out a call, a change of something that lasts, or a raise. Cosmic Ray has no such operator."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Where it applies, as Cosmic Ray asks for it."""
        if node.type == "simple_stmt" and _function_around(node) is not None and _acts(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The statement without what it does."""
        first = node.get_first_leaf()
        node.children[0] = parso.python.tree.Keyword("pass", first.start_pos, prefix=first.prefix)
        return node


def _acts(statement: Any) -> bool:
    if statement.type != "expr_stmt":
        return statement.type in _ACTS
    target, how = statement.children[0], statement.children[1]
    return target.type in ("atom_expr", "power") or (how.type == "operator" and how.value != "=")


OPERATORS: Final[dict[str, Any]] = {
    **{name: get_operator(f"core/{name}")() for name in _BY_COSMIC_RAY},
    "RemoveStatement": RemoveStatement(),
}


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """One change of one module. `module` is its path from the root of the repository."""

    module: str
    line: int
    column: int
    operator: str
    occurrence: int
    lines: range = field(compare=False)  # of the statement, up to where it changes: who runs one may see the change
    is_in_function: bool = field(compare=False)  # and not run once, when the module is imported

    @property
    def place(self) -> str:
        """Where it is, as editors open it."""
        return f"{self.module}:{self.line}"


def mutants_of(root: Path, modules: Iterable[str]) -> list[Mutant]:
    """All mutants of some modules, in their order."""
    return [mutant for module in modules for mutant in sorted(_of_module(root, module))]


def _of_module(root: Path, module: str) -> Iterator[Mutant]:
    nodes = list(ast_nodes(get_ast((root / module).read_text())))
    for name, operator in OPERATORS.items():
        positions = [(node, start) for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, (node, (line, column)) in enumerate(positions):
            if node.search_ancestor("decorator") or _is_of_a_class_line(node):
                continue
            first = node if node.type in _STATEMENTS else node.search_ancestor(*_STATEMENTS) or node
            yield Mutant(
                module,
                line,
                column,
                name,
                occurrence,
                lines=range(min(first.start_pos[0], line), line + 1),
                is_in_function=_function_around(node) is not None,
            )


def _is_of_a_class_line(node: Any) -> bool:
    """Whether it is an option of a class, such as `frozen=True`: those are for speed and for mypy, as decorators."""
    around = node.search_ancestor("classdef", "suite")
    return around is not None and around.type == "classdef"


def _function_around(node: Any) -> Any:
    """The function in whose body a node stands; None for what runs at import, as defaults of arguments do."""
    inner, outer = node, node.parent
    while outer is not None:
        if outer.type in ("funcdef", "lambdef") and inner is outer.children[-1]:
            return outer
        inner, outer = outer, outer.parent
    return None


def changed(source: str, mutant: Mutant) -> str | None:
    """The source of the module with the change; None where it is no Python any more, as `{*a}` of `{**a}`."""
    code: str = mutate_code(source, OPERATORS[mutant.operator], mutant.occurrence)
    try:
        compile(code, mutant.module, "exec")
    except SyntaxError:
        return None
    return code


def change_of(source: str, mutant: Mutant) -> Change | None:
    """The change as the lines that go and those that come instead; None where it is none or no Python any more."""
    code = changed(source, mutant)
    if code is None:
        return None
    told = list(difflib.unified_diff(source.splitlines(), code.splitlines(), n=0, lineterm=""))[3:]
    before = "\n".join(line[1:].strip() for line in told if line.startswith("-"))
    after = "\n".join(line[1:].strip() for line in told if line.startswith("+"))
    return Change(mutant.module, before, after) if before != after else None
