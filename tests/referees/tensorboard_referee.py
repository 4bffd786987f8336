"""The reader of TensorBoard's server reads a folder of event files.

Usage: tensorboard_referee.py FOLDER   Prints, as a line of JSON, of each tag the points [step, seconds since 1970, value] of
its scalars, or the step, width and height of its picture."""
import io
import json
import sys

from PIL import Image
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

events = EventAccumulator(sys.argv[1], size_guidance={}, tensor_size_guidance={"scalars": 0, "images": 0})
events.Reload()
assert events.file_version == 2, events.file_version


def tags(plugin):
    return events.PluginTagToContent(plugin) if plugin in events.ActivePlugins() else []


scalars, images = {}, {}
for tag in tags("scalars"):
    scalars[tag] = [[event.step, event.wall_time, make_ndarray(event.tensor_proto).item()] for event in events.Tensors(tag)]
for tag in tags("images"):
    event, = events.Tensors(tag)
    width, height, png = make_ndarray(event.tensor_proto)
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.size == (int(width), int(height)), (tag, image.size)
    images[tag] = [event.step, *image.size]
print(json.dumps({"scalars": scalars, "images": images}))
