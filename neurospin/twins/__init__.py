"""Digital twins: models of brains and of behaviour, fitted to recordings and to choices."""

from neurospin.twins import behaviour as behaviour
