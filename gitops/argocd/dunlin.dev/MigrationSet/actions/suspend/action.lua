-- Lets no further migration start; a statement under way ends.
obj.spec.suspend = true
return obj
