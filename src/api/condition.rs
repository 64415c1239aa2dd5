//! The schema of `metav1.Condition` lists.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A list of conditions keyed by type, so that several writers can own one condition each by server-side apply.
///
/// Written out instead of derived: the derived schema of `metav1.Condition` has neither the bounds that its Go markers
/// state nor the list type.
pub(super) fn list_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the current state.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "The aspect, in CamelCase or with a domain in front.",
                    "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
                },
                "status": {
                    "type": "string",
                    "description": "Whether it holds: True, False or Unknown.",
                    "enum": ["True", "False", "Unknown"]
                },
                "observedGeneration": {
                    "type": "integer",
                    "description": "The metadata.generation this was said about; older than the object's own when the latest change has not been looked at yet.",
                    "minimum": 0
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When status last changed.",
                    "maxLength": 64
                },
                "reason": {
                    "type": "string",
                    "description": "Why, as one CamelCase word for programs.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
                },
                "message": {
                    "type": "string",
                    "description": "Why, as a sentence for people.",
                    "maxLength": 32768
                }
            }
        }
    })
}
