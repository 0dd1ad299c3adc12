//! What a user may do: a role, and beneath it, permissions and products that narrow it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::session::Key;
use utoipa::ToSchema;

/// One thing that a user may be allowed to do. Every operation of the API needs one (or is open to everybody, or to every user).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub enum Permission {
    /// Things, their properties, their history and their models.
    #[serde(rename = "things.read")]
    ThingsRead,
    /// Setting properties.
    #[serde(rename = "things.write")]
    ThingsWrite,
    /// Calling services.
    #[serde(rename = "things.call")]
    ThingsCall,
    /// Streams of events and reports.
    #[serde(rename = "events.read")]
    EventsRead,
    #[serde(rename = "functions.invoke")]
    FunctionsInvoke,
    /// What is deployed: functions, drivers, timers, routes, versions, invocations, dead letters.
    #[serde(rename = "functions.read")]
    FunctionsRead,
    /// Letting go again of what is quarantined, going back, and dead letters.
    #[serde(rename = "functions.operate")]
    FunctionsOperate,
    #[serde(rename = "rules.read")]
    RulesRead,
    /// Switching rules on and off, and running them now.
    #[serde(rename = "rules.operate")]
    RulesOperate,
    /// Changing what is deployed: functions, drivers, things, models, rules, routes, versions, aliases.
    #[serde(rename = "deploy")]
    Deploy,
    #[serde(rename = "metrics.read")]
    MetricsRead,
    /// Users, their permissions and their access keys.
    #[serde(rename = "users")]
    Users,
}

/// A set of permissions that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything but changing what is deployed, and users.
    Operator,
    /// Looking.
    Viewer,
}

/// What one user may do. `None` narrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    pub role: Role,
    /// Of the role's permissions, only these.
    pub permissions: Option<BTreeSet<Permission>>,
    /// Things and models of these products only, and nothing else: functions, rules and deployments know no products.
    pub products: Option<BTreeSet<String>>,
}

impl Permission {
    pub const ALL: [Self; 12] = [
        Self::ThingsRead,
        Self::ThingsWrite,
        Self::ThingsCall,
        Self::EventsRead,
        Self::FunctionsInvoke,
        Self::FunctionsRead,
        Self::FunctionsOperate,
        Self::RulesRead,
        Self::RulesOperate,
        Self::Deploy,
        Self::MetricsRead,
        Self::Users,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ThingsRead => "things.read",
            Self::ThingsWrite => "things.write",
            Self::ThingsCall => "things.call",
            Self::EventsRead => "events.read",
            Self::FunctionsInvoke => "functions.invoke",
            Self::FunctionsRead => "functions.read",
            Self::FunctionsOperate => "functions.operate",
            Self::RulesRead => "rules.read",
            Self::RulesOperate => "rules.operate",
            Self::Deploy => "deploy",
            Self::MetricsRead => "metrics.read",
            Self::Users => "users",
        }
    }
}

impl Permission {
    fn is_of_things(self) -> bool {
        matches!(self, Self::ThingsRead | Self::ThingsWrite | Self::ThingsCall | Self::EventsRead)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.name())
    }
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|permission| permission.name() == name);
        found.ok_or_else(|| format!("`{name}` is no permission; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Admin, Self::Operator, Self::Viewer];

    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    pub fn may(self, permission: Permission) -> bool {
        use Permission::*;
        match self {
            Self::Admin => true,
            Self::Operator => !matches!(permission, Deploy | Users),
            Self::Viewer => matches!(permission, ThingsRead | EventsRead | FunctionsRead | RulesRead | MetricsRead),
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| format!("`{name}` is no role; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl Rights {
    pub fn of(role: Role) -> Self {
        Self { role, permissions: None, products: None }
    }

    pub fn may(&self, permission: Permission) -> bool {
        let is_given = self.permissions.as_ref().is_none_or(|given| given.contains(&permission));
        self.role.may(permission) && is_given && (self.products.is_none() || permission.is_of_things())
    }

    /// Whether things of this product are any of the user's business.
    pub fn covers(&self, product_key: &str) -> bool {
        self.products.as_ref().is_none_or(|products| products.contains(product_key))
    }

    /// Whether whoever has these may give `others` to somebody.
    pub fn include(&self, others: &Self) -> bool {
        let all_permissions = Permission::ALL.into_iter().all(|it| !others.may(it) || self.may(it));
        let all_products = match (&self.products, &others.products) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.is_subset(own),
        };
        all_permissions && all_products
    }
}

/// Of the local administrator: nobody else has these.
static LOCAL: LazyLock<Arc<Rights>> = LazyLock::new(|| Arc::new(Rights::of(Role::Admin)));

/// Somebody who has proved who they are. What they may do is as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub rights: Arc<Rights>,
    /// For the audit; `None` as long as nobody has said it.
    pub from: Option<CameFrom>,
    /// The session that proves it, if one does.
    pub session: Option<Key>,
    /// The id of the access key that proves it, if one does.
    pub access_key: Option<Arc<str>>,
}

/// From where somebody calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameFrom {
    LocalSocket,
    Address(IpAddr),
}

impl User {
    pub fn new(name: &str, rights: Arc<Rights>) -> Self {
        Self { name: name.to_owned(), rights, from: None, session: None, access_key: None }
    }

    /// Whoever may open the socket in the data directory.
    pub fn local() -> Self {
        Self::new(super::ADMIN, LOCAL.clone())
    }

    pub fn is_local(&self) -> bool {
        Arc::ptr_eq(&self.rights, &LOCAL)
    }

    /// How the audit calls them: `user admin with key LK0A1B from 10.0.0.7`.
    pub fn who(&self) -> String {
        let key = self.access_key.as_ref().map(|id| format!(" with key {id}")).unwrap_or_default();
        let from = self.from.map(|from| format!(" from {from}")).unwrap_or_default();
        format!("user {}{key}{from}", self.name)
    }
}

impl fmt::Display for CameFrom {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalSocket => to.write_str("the local socket"),
            Self::Address(address) => address.fmt(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for permission in Permission::ALL {
            assert_eq!(serde_json::to_value(permission).unwrap(), permission.name());
            assert_eq!(permission.name().parse(), Ok(permission));
        }
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
    }

    #[test]
    fn the_audit_has_their_name_their_key_and_where_they_are() {
        let user = User::new("eve", Arc::new(Rights::of(Role::Viewer)));
        assert_eq!(user.who(), "user eve");
        let user = User { access_key: Some("LK01".into()), from: Some(CameFrom::Address([10, 0, 0, 7].into())), ..user };
        assert_eq!(user.who(), "user eve with key LK01 from 10.0.0.7");
    }

    #[test]
    fn permissions_and_products_narrow_a_role_and_widen_none() {
        let given = Some([Permission::ThingsRead, Permission::Deploy].into());
        let rights = Rights { permissions: given, products: Some(["a1".to_owned()].into()), ..Rights::of(Role::Operator) };
        assert!(rights.may(Permission::ThingsRead) && !rights.may(Permission::ThingsWrite) && !rights.may(Permission::Deploy));
        assert!(rights.covers("a1") && !rights.covers("a2"));
        let of_one = Rights { products: Some(["a1".to_owned()].into()), ..Rights::of(Role::Admin) };
        assert!(of_one.may(Permission::ThingsCall) && !of_one.may(Permission::FunctionsInvoke) && !of_one.may(Permission::Users));
        assert!(Rights::of(Role::Admin).include(&rights) && !rights.include(&Rights::of(Role::Viewer)));
    }
}
