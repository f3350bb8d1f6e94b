from tests.handlers.engine.serving import serve

__all__ = ["serve"]
