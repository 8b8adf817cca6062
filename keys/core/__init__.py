"""Public keys, decided without Django, clock or settings.

A map, in the order a pasted text passes through:

``plain``            the short way for what nearly every paste is: whole OpenSSH lines
``characters``       blanks, invisible characters, line ends: text -> lines
``files``            a chosen file -> such a text, but nothing of a private key that is no text
``formats``          one module per form people paste: lines -> blobs, or what else they are
``wire``             RFC 4251 strings and integers, base64; strict
``algorithms``       what a blob of each of the seven accepted types must look like
``edwards``, ``nist``  whether bytes are a usable Ed25519 point, or a point on a NIST curve (the library says)
``publickey``        the value that exists only if all of this holds
``policy``           what we refuse or advise although it is valid
``weak``             keys that are broken although they look like any other, and factors that stored keys share
``blocklist``        keys whose private half is known, in the form of badkeys
``parse``            all of it together: one text -> keys, problems, notes
``networks``         source addresses and networks as people type them
``restrictions``     from where and until when a key may sign in: values, and the options of its line
``authorized_keys``  the file on the host: rendered from values, read back strictly
``life``             how a stored key comes to its end by itself: unsafe by today's rules, or its last day near
``errors``           every refusal, note and advice: code, sentence, hint
"""
