"""What the accounts floor tells those above it, who may not be imported here."""

from django.dispatch import Signal

# Sent inside the transaction that opened, renamed, suspended, resumed or closed a district: what its SFTP host should
# hold is no longer what it holds. Argument: account (SftpAccount).
account_changed = Signal()
