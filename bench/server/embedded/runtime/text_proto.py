"""Messages in text form, checked by the C++ protocol buffers inside TensorFlow's library.

tensorflow_model_server reads its configuration files with the same release of the same parser, which reports errors on
stderr: `[libprotobuf ERROR …] Error parsing text-format tensorflow.serving.…: LINE:COLUMN: …`. The kernel of
DecodeProto, which also reads text, gives access to it.
"""

from typing import Any

from google.protobuf import descriptor_pb2

from bench.server.embedded.base.status import StatusError
from bench.server.embedded.runtime.session import GraphSession
from bench.server.embedded.runtime.tensors import DT_STRING, Tensor
from bench.serving.protos import meta_graph_pb2, types_pb2


def is_text_of(text: bytes, message: Any) -> bool:
    """Whether a text is a message of the type of `message`; the parser writes the reason to stderr if it is not.

    Raises:
        StartError: TensorFlow's library cannot be loaded.
    """
    session = GraphSession(_graph(message.DESCRIPTOR))
    try:
        session.run([("text:0", Tensor(DT_STRING, (), [text]))], ["parsed:0"])
    except StatusError:
        return False
    finally:
        session.close()
    return True


def _graph(descriptor: Any) -> bytes:
    """A graph that decodes a text as a message, and returns none of its fields."""
    files = descriptor_pb2.FileDescriptorSet()
    _add_file(descriptor.file, files)
    graph = meta_graph_pb2.MetaGraphDef().graph_def
    graph.node.add(name="text", op="Placeholder").attr["dtype"].type = types_pb2.DT_STRING
    attributes = graph.node.add(name="parsed", op="DecodeProtoV2", input=["text"]).attr
    attributes["message_type"].s = descriptor.full_name.encode()
    attributes["message_format"].s = b"text"
    attributes["descriptor_source"].s = b"bytes://" + files.SerializeToString()
    attributes["sanitize"].b = False
    for name in ("field_names", "output_types"):
        attributes[name].list.SetInParent()
    return bytes(graph.SerializeToString())


def _add_file(file: Any, files: Any) -> None:
    """Adds a file after its imports."""
    if file.name in [known.name for known in files.file]:
        return
    for imported in file.dependencies:
        _add_file(imported, files)
    files.file.add().ParseFromString(file.serialized_pb)
