"""Captions to token ids and back: byte-pair encoding (Sennrich et al., 2016), trained on the training captions.

A text is normalized (compatibility forms of Unicode, lower case) and cut into words; hyphens and apostrophes are parts
of words, punctuation marks are words of their own. A word starts as a mark of its beginning and its characters, and the
commonest pairs of neighbors are joined, one after the other, until the vocabulary is full. So where captions have few
different words, each that occurs twice is one token, and any other word is read in pieces. The result depends on how
often each word occurs, not on the order of the captions.

    [begin] a small red circle [end] [pad] [pad]

A caption without any word is all padding: it says nothing.

A pretrained text encoder comes with a tokenizer of its own (`reading`), whose marks and pieces are others. Ids here are
its own, all raised by 1 where its 0 is not padding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import final

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from morphogen.core.data_spec import PAD, TextSchema
from morphogen.core.errors import DataError
from morphogen.core.printable import listed, one_line, shortened
from morphogen.data.tokenizer_patterns import check_patterns

UNKNOWN, BEGIN, END = 1, 2, 3  # and PAD is 0
_SPECIAL = ("[pad]", "[unknown]", "[begin]", "[end]")
_WORD = r"[\w'-]+|[^\w\s'-]"
_SAID = 8  # texts that a warning quotes
_PADS = ("[pad]", "<pad>")
_SEEN = 2  # times that a pair of pieces must occur to be joined: what occurs once cannot be learned


@dataclass(frozen=True)
class Read:
    """Texts as a model reads them: `ids` (n, longest) int64, padded with `PAD`, and what is lost of them in words.

    `weights` (n, longest) float32 says how often each token counts (`data/weighted_prompts.py`); None: once.
    """

    ids: Tensor
    warnings: tuple[str, ...]
    weights: Tensor | None = None


@final
class Tokenizer:
    """Made by `Tokenizer.trained`, or from the JSON that an artifact holds as tokenizer.json."""

    def __init__(self, json: str) -> None:
        """Raises `DataError` where `json` is no tokenizer."""
        check_patterns(json)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(json)
            self._tokenizer.encode("a")
        except BaseException as error:  # the library raises nothing more specific, and panics are no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            reason = one_line(str(error))[:200]
            raise DataError(f"expected the JSON of a tokenizer, got something unreadable ({reason}).") from None
        self._tokenizer.encode_special_tokens = True  # who writes "[end]" means a bracket, a word and a bracket
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.json = json
        first = (self._tokenizer.id_to_token(PAD) or "").lower()
        self.shift = 0 if first in _PADS else 1
        self._learned = self._tokenizer.id_to_token(BEGIN) == _SPECIAL[BEGIN]  # here, from the training captions
        self._known: frozenset[str] = frozenset()  # words that come in parts and were learned all the same
        self._marks = self._tokenizer.num_special_tokens_to_add(False)
        marks = self._tokenizer.encode("").ids
        self._end = marks[-1:] if marks and marks[-1] == self._tokenizer.encode("a").ids[-1] else []

    @classmethod
    def trained(cls, captions: Iterable[str], vocabulary: int) -> Tokenizer:
        """Of at most `vocabulary` tokens, or as many as the captions have characters."""
        model = tokenizers.Tokenizer(models.BPE(unk_token=_SPECIAL[UNKNOWN], fuse_unk=True))
        model.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace("’", "'")]
        )
        words = pre_tokenizers.Split(tokenizers.Regex(_WORD), behavior="removed", invert=True)
        # The mark is a character of its own: the library's suffixes for ends of words make ids differ from run to run.
        mark = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
        model.pre_tokenizer = pre_tokenizers.Sequence([words, mark])
        model.decoder = decoders.Metaspace(prepend_scheme="always")
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, min_frequency=_SEEN, special_tokens=list(_SPECIAL), show_progress=False
        )
        model.train_from_iterator(captions, trainer)
        model.post_processor = processors.TemplateProcessing(
            single=f"{_SPECIAL[BEGIN]} $A {_SPECIAL[END]}",
            special_tokens=[(_SPECIAL[BEGIN], BEGIN), (_SPECIAL[END], END)],
        )
        return cls(model.to_str())

    @classmethod
    def of(cls, schema: TextSchema) -> Tokenizer:
        """That of captions which a model has learned. Raises `DataError` if they have none."""
        if not schema.tokenizer:
            raise DataError("these captions have no tokenizer: the data were described by an older version.")
        found = cls(schema.tokenizer)
        found._known = frozenset(schema.more_words)
        return found

    @property
    def vocabulary(self) -> int:
        """Number of different tokens; ids are 0 .. vocabulary - 1."""
        return self._tokenizer.get_vocab_size() + self.shift

    @property
    def fingerprint(self) -> str:
        """sha256 of the JSON."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, begin and end included."""
        return [len(found.ids) for found in self._tokenizer.encode_batch(list(texts))]

    def ids(self, texts: Sequence[str], longest: int) -> Tensor:
        """(n, longest) int64, padded with `PAD`; of a longer text the end is cut off."""
        return self._padded([found.ids for found in self._tokenizer.encode_batch(list(texts))], longest)

    def read(self, prompts: Sequence[str], longest: int) -> Read:
        """`ids` of what a user writes, and warnings: of words that the captions hardly have, and of what is cut off."""
        encoded = self._tokenizer.encode_batch(list(prompts))
        strange = self._strange(prompts, encoded)
        lost = []
        for prompt, found in zip(prompts, encoded, strict=True):
            if len(found.ids) > longest:
                lost.append(prompt[found.offsets[longest - len(self._end)][0] :])
        warnings = []
        if strange:
            said = listed([repr(shortened(word)) for word in strange], _SAID)
            warnings.append(f"the training captions have these words seldom or never: {said}; their effect is chance.")
        if lost:
            said = listed([repr(shortened(rest)) for rest in lost], _SAID)
            warnings.append(f"the model reads at most {longest} tokens of a text, so it does not see {said}.")
        return Read(self._padded([found.ids for found in encoded], longest), tuple(warnings))

    def in_parts(self, texts: Sequence[str]) -> list[str]:
        """The words of texts that have no token of their own, in lower case, where the tokenizer was learned here."""
        found = self._strange(texts, self._tokenizer.encode_batch(list(texts)))
        return sorted({word.lower() for word in found})

    def _strange(self, texts: Sequence[str], encoded: Sequence[tokenizers.Encoding]) -> list[str]:
        """The words of texts that the captions hardly have, in their order, each once."""
        found: dict[str, None] = {}
        for text, ids in zip(texts, encoded, strict=True):
            for word, places in _words(text, ids):
                # An unknown character, too, follows a mark.
                if self._learned and len(places) > 1 and word.lower() not in self._known:
                    found[word] = None
        return list(found)

    def words(self, prompt: str, longest: int) -> list[tuple[str, list[int]]]:
        """The words of a prompt, as written, and the places of each one's tokens in `read`; not those cut off."""
        found = self._tokenizer.encode(prompt)
        end = longest - len(self._end) if len(found.ids) > longest else len(found.ids)
        return [(word, places) for word, places in _words(prompt, found) if places[-1] < end]

    def places(self, prompt: str, longest: int) -> list[tuple[int, list[int]]]:
        """Of each word of a prompt the character that it begins with, and the places of its tokens in `read`."""
        found = self._tokenizer.encode(prompt)
        end = longest - len(self._end) if len(found.ids) > longest else len(found.ids)
        offsets = found.offsets
        words = (places for _, places in _words(prompt, found))
        return [(offsets[places[0]][0], [i for i in places if i < end]) for places in words if places[0] < end]

    def text(self, ids: Tensor) -> str:
        """The text of ids (L,), normalized, with single spaces between words and punctuation."""
        shown = [int(i) - self.shift for i in ids if i != PAD]
        return self._tokenizer.decode(shown, skip_special_tokens=True)

    def _padded(self, rows: Sequence[Sequence[int]], longest: int) -> Tensor:
        whole: list[list[int]] = []
        for row in rows:
            cut = [*row[: longest - len(self._end)], *self._end] if len(row) > longest else row
            kept = [i + self.shift for i in cut] if len(row) > self._marks else []
            whole.append(kept + [PAD] * (longest - len(kept)))
        return torch.tensor(whole, dtype=torch.int64).reshape(len(rows), longest)


def describe(captions: Sequence[str], vocabulary: int, longest: int) -> TextSchema:
    """Train a tokenizer of at most `vocabulary` tokens on training captions, and say how long they are.

    `longest` is the most tokens to read of one; if all are shorter, the model needs to read no more than they have.
    """
    return _described(Tokenizer.trained(captions, vocabulary), captions, longest)


def reading(tokenizer: str, longest: int) -> TextSchema:
    """What a text encoder says of itself that reads at most `longest` tokens by a tokenizer, given as its JSON."""
    read = Tokenizer(tokenizer)
    return TextSchema(longest=longest, vocabulary=read.vocabulary, fingerprint=read.fingerprint, tokenizer=read.json)


def data_part(reader: TextSchema, captions: Sequence[str], longest: int) -> TextSchema:
    """As `describe`, by the tokenizer of a text encoder."""
    return _described(Tokenizer.of(reader), captions, min(longest, reader.longest))


def _described(tokenizer: Tokenizer, captions: Sequence[str], longest: int) -> TextSchema:
    lengths = tokenizer.lengths(captions)
    return TextSchema(
        longest=min(longest, max(lengths, default=len((BEGIN, END)))),
        examples=tuple(captions[:3]),
        cut=sum(length > longest for length in lengths),
        vocabulary=tokenizer.vocabulary,
        fingerprint=tokenizer.fingerprint,
        tokenizer=tokenizer.json,
    )


def _words(text: str, found: tokenizers.Encoding) -> Iterator[tuple[str, list[int]]]:
    """Each word of `text`, and the places of its tokens."""
    words, offsets = found.word_ids, found.offsets  # each a list that is made anew when it is asked for
    places = [i for i, word in enumerate(words) if word is not None]
    for _, group in groupby(places, key=lambda i: words[i]):
        word = list(group)
        yield text[offsets[word[0]][0] : offsets[word[-1]][1]], word
