"""Golden plans: what every quick solver answers on twelve models, kept from change to change."""
