"""The schemas of a registry that are known, each as a function that turns a message into JSON.

Whoever reads a batch asks first which schemas it still needs, has them fetched, and adds them. Then reading needs
nothing from outside.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from stream.core.messages import Record
from stream.core.rejections import Reason, Rejected
from stream.inputs.encodings import avro, protobuf
from stream.inputs.encodings.framing import Frame, SchemaId, frame_of

# More than a topic has in years. Garbage that looks framed must not fill the memory.
_MAX_SCHEMAS = 10_000


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as a registry has it. Each reference, by name, comes after those that it refers to itself."""

    kind: str  # AVRO, JSON or PROTOBUF
    text: str
    references: dict[str, str] = field(default_factory=dict)


class Schemas:
    """The schemas of a registry that are known."""

    def __init__(self) -> None:
        self._decoders: dict[SchemaId, Callable[[Frame], bytes]] = {}
        self._unusable: dict[SchemaId, str] = {}

    def unknown(self, records: Iterable[Record]) -> list[SchemaId]:
        """Return the ids of the schemas that reading these records needs, and that are not known."""
        wanted: dict[SchemaId, None] = {}
        for record in records:
            if record.value is None:
                continue
            try:
                schema_id = frame_of(record).schema_id
            except Rejected:  # its reader says so
                continue
            if schema_id not in self._decoders and schema_id not in self._unusable:
                wanted[schema_id] = None
        return list(wanted)

    def add(self, schema_id: SchemaId, schema: Schema | None) -> None:
        """Add a schema that was fetched; None stands for one that the registry does not have."""
        if len(self._decoders) + len(self._unusable) >= _MAX_SCHEMAS:
            self._decoders.clear()
            self._unusable.clear()
        if schema is None:
            self._unusable[schema_id] = f"the registry has no schema {schema_id}, or not all that it refers to"
            return
        try:
            self._decoders[schema_id] = _decoder_of(schema)
        except avro.SchemaUnusable as error:
            self._unusable[schema_id] = f"schema {schema_id} of the registry: {error}"

    def forget_unusable(self) -> None:
        """Forget what could not be used, so that it is asked for again."""
        self._unusable.clear()

    def json_of(self, record: Record) -> bytes:
        """Return a message that is not null as JSON. Raises Rejected."""
        frame = frame_of(record)
        decode = self._decoders.get(frame.schema_id)
        if decode is None:
            told = self._unusable.get(frame.schema_id, f"schema {frame.schema_id} of the registry is not known")
            raise Rejected(Reason.UNKNOWN_VALUE, told)
        return decode(frame)


def _decoder_of(schema: Schema) -> Callable[[Frame], bytes]:
    if schema.kind == "AVRO":
        decode_avro = avro.decoder_of(schema.text, tuple(schema.references.values()))
        return lambda frame: decode_avro(frame.message())
    if schema.kind == "JSON":
        return lambda frame: frame.message()
    if schema.kind == "PROTOBUF":
        return protobuf.decoder_of(schema.text, schema.references)
    raise avro.SchemaUnusable(f"its kind {schema.kind!r} is none of AVRO, JSON, PROTOBUF")
