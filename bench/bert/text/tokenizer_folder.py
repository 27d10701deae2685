"""The tokenizer of a checkpoint folder, by Google's rules or by those of `transformers` 4 (BertTokenizerFast).

Google's beside a TensorFlow checkpoint where the tokenizer is `vocab.txt` and at most a `tokenizer_config.json` of
`GOOGLE_KEYS`; Hugging Face's everywhere else. `transformers` 5 splits alike, except that it ignores the word limit of
a `tokenizer.json`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from bench.bert.config import GOOGLE_FILE, HUGGING_FACE_FILE
from bench.bert.text.added_tokens import added_tokens, special_by_role
from bench.bert.text.token_entries import ADDED_TOKENS_FILE, SPECIAL_TOKENS_MAP_FILE
from bench.bert.text.tokenizer_config_json import (
    GOOGLE_KEYS,
    TOKENIZER_CONFIG_FILE,
    TokenizerConfig,
    read_tokenizer_config,
)
from bench.bert.text.tokenizer_json import TOKENIZER_FILE, TokenizerJson, check_frame, read_tokenizer_json
from bench.bert.text.tokenizer_options import (
    CONTINUATION,
    GOOGLE_MAX_WORD_CHARS,
    HUGGING_FACE_MAX_WORD_CHARS,
    TokenizerOptions,
    TokenizerParts,
    extended,
    has_capitals,
)
from bench.bert.text.vocab_txt import (
    VOCAB_FILE,
    check_pieces,
    read_google_vocabulary,
    read_hugging_face_vocabulary,
    without_blank_end,
)
from bench.core.errors import UsageError
from bench.core.strict_json import Section, brief, read_object

_Value = TypeVar("_Value", bool, int)

SENTENCE_BERT_FILE: Final = "sentence_bert_config.json"
# Copies of BertTokenizer under another name.
_BERT_CLASSES: Final = frozenset(
    f"{name}Tokenizer"
    for name in (
        *("Bert", "ConvBert", "DistilBert", "Electra", "LayoutLM", "Lxmert", "MobileBert", "RetriBert", "SqueezeBert"),
        *("DPRContextEncoder", "DPRQuestionEncoder", "DPRReader"),
    )
)
# Classes that take everything from `tokenizer.json`.
_GENERIC_CLASSES: Final = frozenset({"PreTrainedTokenizer", "TokenizersBackend"})
# A cased vocabulary has capital letters in a third of its pieces, an uncased one in none or in a few added by hand.
_CASED_FRACTION: Final = 0.1


def read_folder(folder: Path, do_lower_case: bool | None = None, google: bool | None = None) -> TokenizerParts:
    """Reads a folder's tokenizer.

    Args:
        folder: a Google or a Hugging Face folder.
        do_lower_case: overrides the folder's case; accents follow where they followed the case.
        google: whether the weights are a TensorFlow checkpoint; None looks for `bert_config.json`, or for a folder with
            only `vocab.txt`.

    Raises:
        UsageError: neither `vocab.txt` nor `tokenizer.json` is there, a file cannot be used, a setting is not
            supported, two files disagree, or nothing shows the case; the message names the file and the setting.
    """
    if not any((folder / name).is_file() for name in (VOCAB_FILE, TOKENIZER_FILE)):
        raise UsageError(f"{folder} has neither {VOCAB_FILE} nor {TOKENIZER_FILE}; give a BERT checkpoint folder")
    if _by_google_rules(folder, google):
        return _read_google(folder, do_lower_case)
    return _read_hugging_face(folder, do_lower_case)


def _by_google_rules(folder: Path, google: bool | None) -> bool:
    if any((folder / name).is_file() for name in (TOKENIZER_FILE, SPECIAL_TOKENS_MAP_FILE, ADDED_TOKENS_FILE)):
        return False
    config = folder / TOKENIZER_CONFIG_FILE
    if google is None:
        bare = not config.is_file() and not (folder / HUGGING_FACE_FILE).is_file()
        google = bare or (folder / GOOGLE_FILE).is_file()
    return google and (not config.is_file() or read_object(config).keys() <= set(GOOGLE_KEYS))


def _read_google(folder: Path, override: bool | None) -> TokenizerParts:
    config = read_tokenizer_config(folder)
    vocabulary = read_google_vocabulary(folder / VOCAB_FILE)
    stated = config.do_lower_case
    own = _lower_by_vocabulary(vocabulary) if stated is None else stated
    strip = _own_accents(config.strip_accents, own)
    lower = own if override is None else override
    if lower is None:
        raise UsageError(
            f"{folder / VOCAB_FILE}: {_capitals(vocabulary)}, too many for an uncased model and too few for a cased "
            f"one; write do_lower_case in {config.where}, or export with --cased or --uncased"
        )
    options = TokenizerOptions(
        do_lower_case=lower,
        strip_accents=lower if strip is None else strip,
        split_cjk=config.split_cjk is not False,
        max_word_chars=config.max_word_chars or GOOGLE_MAX_WORD_CHARS,
    )
    return TokenizerParts(vocabulary, options)


def _own_accents(strip: bool | None, lower: bool | None) -> bool | None:
    """`strip_accents` where it differs from the case, or the case is not known; None where accents follow the case."""
    return None if strip == lower else strip


def _read_hugging_face(folder: Path, override: bool | None) -> TokenizerParts:
    config = read_tokenizer_config(folder)
    found = read_tokenizer_json(folder / TOKENIZER_FILE) if (folder / TOKENIZER_FILE).is_file() else None
    generic = _is_generic(folder, config, found)
    vocabulary = _vocabulary(folder, found)
    lower, strip, split_cjk = _case(config, found, generic, override, vocabulary)
    if override is None:
        _check_model_config(folder / HUGGING_FACE_FILE, lower)
    _check_sentence_bert(folder / SENTENCE_BERT_FILE, lower)
    options = TokenizerOptions(
        do_lower_case=lower,
        strip_accents=lower if strip is None else strip,
        split_cjk=split_cjk,
        max_word_chars=_from_file(
            config, "max_input_chars_per_word", config.max_word_chars, _word_limit(found), HUGGING_FACE_MAX_WORD_CHARS
        ),
        clean_text=_from_file(config, "clean_text", config.clean_text, found.clean_text if found else None, True),
        split_special_tokens=config.split_special_tokens or False,
        final_sigma=False,
    )
    roles = special_by_role(config, found, generic)
    added = added_tokens(config, found, generic, vocabulary)
    if extended(vocabulary, added) == vocabulary:
        # An empty piece at the end only moves the ids of tokens after it; the model may have no row for it.
        vocabulary = without_blank_end(vocabulary)
    if found:
        ids = {piece: index for index, piece in enumerate(extended(vocabulary, added))}
        # A special token that is nowhere is refused with the others.
        if {roles["cls"], roles["sep"]} <= ids.keys():
            check_frame(found, (roles["cls"], ids[roles["cls"]]), (roles["sep"], ids[roles["sep"]]))
    return TokenizerParts(vocabulary, options, roles, added)


def _word_limit(found: TokenizerJson | None) -> int | None:
    return found.max_word_chars if found else None


def _is_generic(folder: Path, config: TokenizerConfig, found: TokenizerJson | None) -> bool:
    """Whether the class takes everything from `tokenizer.json`; a class that is not BERT's is refused."""
    model = folder / HUGGING_FACE_FILE
    named = {
        config.where: config.tokenizer_class,
        str(model): read_object(model, bom=True).get("tokenizer_class") if model.is_file() else None,
    }
    classes = {where: _plain_class(where, name) for where, name in named.items() if name is not None}
    if len(set(classes.values())) > 1:
        raise UsageError(
            f"{config.where} and {model} disagree: tokenizer_class is {brief(named[config.where])} in the first and "
            f"{brief(named[str(model)])} in the second; correct one of them"
        )
    generic = any(name in _GENERIC_CLASSES for name in classes.values())
    if generic and not found:
        where, name = next((where, name) for where, name in named.items() if name is not None)
        raise UsageError(f"{where}: tokenizer_class {brief(name)} needs {TOKENIZER_FILE}; save the tokenizer again")
    return generic


def _plain_class(where: str, name: object) -> str:
    """The class without `Fast`, one name for all copies of BertTokenizer."""
    plain = name.removesuffix("Fast") if isinstance(name, str) else ""
    if plain not in _BERT_CLASSES | _GENERIC_CLASSES:
        raise UsageError(
            f"{where}: tokenizer_class {brief(name)} splits text differently; only BertTokenizer is supported"
        )
    return "BertTokenizer" if plain in _BERT_CLASSES else "PreTrainedTokenizer"


def _vocabulary(folder: Path, found: TokenizerJson | None) -> tuple[str, ...]:
    """The pieces in the order of their ids, from whichever file is there; two that disagree are an error."""
    path = folder / VOCAB_FILE
    listed = read_hugging_face_vocabulary(path) if path.is_file() else None
    if found is None:
        return listed or ()
    if listed is None:
        return _in_order(found.ids, found)
    listed_ids = {piece: index for index, piece in enumerate(listed) if _can_occur(piece)}
    ids = {piece: index for piece, index in found.ids.items() if _can_occur(piece)}
    differing = sorted(
        (piece for piece, _ in listed_ids.items() ^ ids.items()), key=lambda piece: listed_ids.get(piece, -1)
    )
    if differing:
        piece = differing[0]
        raise UsageError(
            f"{path} and {found.where} disagree: {piece!r} has the id {listed_ids.get(piece, 'none')} in the first and "
            f"{ids.get(piece, 'none')} in the second; remove the one that does not belong to the model"
        )
    pieces = without_blank_end(listed)
    return (*pieces, "") if found.ids.get("") == len(pieces) else pieces


def _can_occur(piece: str) -> bool:
    """Whether a text can give the piece: white space cannot, and files store it in several forms."""
    return bool(piece.removeprefix(CONTINUATION).strip())


def _in_order(ids: Mapping[str, int], found: TokenizerJson) -> tuple[str, ...]:
    """The pieces of `tokenizer.json`; an unused id, which a duplicate piece leaves, gets an empty one."""
    size = max(ids.values(), default=-1) + 1
    if size > 2 * len(ids):
        raise UsageError(f"{found.where}: its {len(ids)} pieces have ids up to {size - 1}; save the tokenizer again")
    pieces = [""] * size
    for piece, index in ids.items():
        pieces[index] = piece
    check_pieces(pieces, Path(found.where))
    return tuple(pieces)


def _case(
    config: TokenizerConfig,
    found: TokenizerJson | None,
    generic: bool,
    override: bool | None,
    vocabulary: Sequence[str],
) -> tuple[bool, bool | None, bool]:
    """Whether to lower-case, to strip accents (None: as the case) and to put ideographs on their own."""
    if found is None:
        lower = (
            _lower_by_default(config, override, vocabulary) if config.do_lower_case is None else config.do_lower_case
        )
        strip = _own_accents(config.strip_accents, lower)
        return lower if override is None else override, strip, config.split_cjk is not False
    # BertTokenizerFast overrides tokenizer.json, with its defaults too.
    default = None if generic else True
    lower = found.do_lower_case if override is None else override
    if override is None:
        _check_same(config, "do_lower_case", config.do_lower_case, lower, default)
    strip = _own_accents(found.strip_accents, found.do_lower_case)
    if config.strip_accents is None:
        _check_same(config, "strip_accents", None, strip, None if generic or strip is None else "the case's")
    elif _own_accents(config.strip_accents, found.do_lower_case) != strip:
        _check_same(config, "strip_accents", config.strip_accents, found.strip_accents)
    _check_same(config, "tokenize_chinese_chars", config.split_cjk, found.split_cjk, default)
    return lower, strip, found.split_cjk


def _lower_by_default(config: TokenizerConfig, override: bool | None, vocabulary: Sequence[str]) -> bool:
    """transformers' default, unless the vocabulary is plainly that of a cased model."""
    if override is None and _lower_by_vocabulary(vocabulary) is False:
        raise UsageError(
            f"{config.where} does not say do_lower_case, for which transformers takes true, and "
            f"{_capitals(vocabulary)}; write do_lower_case there"
        )
    return True


def _lower_by_vocabulary(vocabulary: Sequence[str]) -> bool | None:
    """Whether the vocabulary is plainly an uncased model's; None where a few capital letters leave that open."""
    capitals = sum(map(has_capitals, vocabulary))
    if capitals > _CASED_FRACTION * len(vocabulary):
        return False
    return None if capitals else True


def _capitals(vocabulary: Sequence[str]) -> str:
    """How many pieces have capital letters, for messages."""
    return f"capital letters are in {sum(map(has_capitals, vocabulary))} of the {len(vocabulary)} pieces"


def _check_same(config: TokenizerConfig, key: str, stated: object, in_file: object, default: object = None) -> None:
    """Refuses a config whose value, or default where it has none, differs from that of `tokenizer.json`."""
    if stated is not None and stated != in_file:
        raise UsageError(
            f"{config.where} and {TOKENIZER_FILE} disagree: {key} is {brief(stated)} in the first and {brief(in_file)} "
            "in the second; correct one of them"
        )
    if stated is None and default is not None and default != in_file:
        taken = default if isinstance(default, str) else brief(default)
        raise UsageError(
            f"{config.where} does not say {key}, for which transformers takes {taken}, and {TOKENIZER_FILE} has "
            f"{brief(in_file)}; write {key} there"
        )


def _from_file(
    config: TokenizerConfig, key: str, stated: _Value | None, in_file: _Value | None, default: _Value
) -> _Value:
    """A setting that only `tokenizer.json` can change; a different value in the config is an error."""
    if in_file is not None:
        _check_same(config, key, stated, in_file)
        return in_file
    if stated is not None and stated != default:
        raise UsageError(
            f"{config.where}: {key} = {brief(stated)}, which transformers does not read: it takes {brief(default)}; "
            f"remove it, or give a {TOKENIZER_FILE} that has it"
        )
    return default


def _check_model_config(path: Path, lower: bool) -> None:
    """Refuses a `config.json` with another case, which transformers does not read there."""
    stated = read_object(path, bom=True).get("do_lower_case", lower) if path.is_file() else lower
    if stated != lower:
        raise UsageError(
            f"{path}: do_lower_case is {brief(stated)} and the tokenizer's is {brief(lower)}; correct one of them"
        )


def _check_sentence_bert(path: Path, lower: bool) -> None:
    """Refuses a file of sentence-transformers that lower-cases text for a cased tokenizer."""
    if path.is_file() and Section(read_object(path), str(path)).optional_flag("do_lower_case") and not lower:
        raise UsageError(f"{path}: do_lower_case is true and the tokenizer's is false; correct one of them")
