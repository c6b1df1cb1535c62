"""Keras as the judge: on its torch backend, chosen before anything imports it."""

import os

os.environ["KERAS_BACKEND"] = "torch"
