from typing import Any

class Events:
    def fetch(self) -> list[Any]: ...
