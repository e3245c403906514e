//! `spec.variables`: which there are, and where their values are.

use super::{
    super::extras::{KeyReference, ValueSource, Variable},
    problems::Problems,
};
use crate::core::{
    reference::{ConfigMapKey, SecretKey, ValueRef, VariableRef},
    variables::HasNul,
};

pub(super) fn read_variables(variables: &[Variable], problems: &mut Problems) -> Vec<VariableRef> {
    let mut read: Vec<VariableRef> = Vec::with_capacity(variables.len());
    for (index, Variable { name, value, value_from }) in variables.iter().enumerate() {
        let path = format!("spec.variables[{index}]");
        if read.iter().any(|known| known.name == *name) {
            problems.add(format!("{path}.name"), format!("{name} is there twice: remove one of them"));
        }
        let found = match (value, value_from) {
            (Some(value), None) if value.contains('\0') => {
                problems.add(format!("{path}.value"), HasNul.to_string());
                continue;
            }
            (Some(value), None) => ValueRef::Given(value.clone()),
            (None, Some(ValueSource { secret_key_ref: Some(reference), config_map_key_ref: None })) => {
                let KeyReference { name, key } = reference.clone();
                ValueRef::Secret(SecretKey { secret: name, key })
            }
            (None, Some(ValueSource { secret_key_ref: None, config_map_key_ref: Some(reference) })) => {
                let KeyReference { name, key } = reference.clone();
                ValueRef::ConfigMap(ConfigMapKey { config_map: name, key })
            }
            (Some(_), Some(_)) | (None, None) => {
                problems.add(path, "give exactly one of value and valueFrom");
                continue;
            }
            (None, Some(_)) => {
                problems.add(format!("{path}.valueFrom"), "give exactly one of secretKeyRef and configMapKeyRef");
                continue;
            }
        };
        read.push(VariableRef { name: name.clone(), value: found });
    }
    read
}
