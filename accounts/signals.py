"""What the accounts floor tells those above it, who may not be imported here."""

from django.dispatch import Signal

# Sent inside the transaction that opened, renamed, suspended, resumed or closed a district: what its SFTP host should
# hold is no longer what it holds. Arguments: account (SftpAccount), and before (District.State, or None for one that
# was opened): the state its district had until now.
account_changed = Signal()
