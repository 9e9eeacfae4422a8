"""What the log says of requests."""

import logging


class OneLineRefusals(logging.Filter):
    """Drops the traceback of a refused request: its line says what was refused.

    Django gives each answer from 400 on its status. Those from 500 on keep their traceback.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info = record.exc_text = None
        return True
