"""Public keys, decided without Django, clock or settings.

A map, in the order a pasted text passes through:

``characters``       blanks, invisible characters, line ends: text -> lines
``formats``          one module per form people paste: lines -> blobs, or what else they are
``wire``             RFC 4251 strings and integers, base64; strict
``algorithms``       what a blob of each of the seven accepted types must look like
``edwards``          whether 32 bytes are a usable Ed25519 point
``publickey``        the value that exists only if all of this holds
``policy``           what we refuse or advise although it is valid
``parse``            all of it together: one text -> keys, problems, notes
``authorized_keys``  the file on the host: rendered from values, read back strictly
``errors``           every refusal, note and advice: code, sentence, hint
"""
