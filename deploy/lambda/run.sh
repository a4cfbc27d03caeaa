#!/bin/sh
# What the web adapter starts in place of a handler.
exec python3 -m tidegate.cli serve
