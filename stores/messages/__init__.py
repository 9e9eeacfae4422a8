"""What Syncline says to people: codes and parameters, which become sentences when they are shown.

- `catalog` has the text of each code: to reword or translate what Syncline says, change it there.
- `reasons` say why a row waits, failed or was quarantined, and what to do next.
- `labels` are what columns and numbers of things are called.
- `message.Message` is a code with its parameters, or several; `str(message)` is the sentence.
- `field.MessageField` is the column that stores a message.
"""
