"""What a browser sends for a file that is chosen in a ``FileUpload``."""

from datetime import UTC, datetime


def as_upload(name: str, content: bytes) -> tuple[dict]:
    """The widget's value for one file."""
    made = datetime.now(UTC)
    given = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content)}
    return (given | {"last_modified": made},)
