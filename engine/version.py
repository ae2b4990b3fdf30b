"""The one place that code reads the version from; a test holds it to the build metadata."""

VERSION = "0.1.0"
