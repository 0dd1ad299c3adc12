use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::clock::Hands;
use crate::store::Table;

const PASSWORD: &str = "correct horse";

struct Opened {
    auth: Auth,
    first: FirstPassword,
    hands: Hands,
}

fn open(store: &Arc<Store>, admin_password: Option<&str>, compat_default_login: bool) -> Opened {
    let (clock, hands) = Clock::fixed(0);
    let admin_password = admin_password.map(|password| Zeroizing::new(password.to_owned()));
    let (auth, first) =
        Auth::open(store.clone(), Arc::new(Seal::ephemeral()), clock, AuthOptions { admin_password, compat_default_login }).unwrap();
    Opened { auth, first, hands }
}

fn given() -> Opened {
    open(&Arc::new(Store::in_memory()), Some(PASSWORD), false)
}

fn header(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn the_first_password_is_made_once_and_only_its_hash_is_kept() {
    let store = Arc::new(Store::in_memory());
    let FirstPassword::Generated(password) = open(&store, None, false).first else { panic!("not generated") };
    let again = open(&store, None, false);
    assert!(matches!(again.first, FirstPassword::Kept));
    assert_eq!(again.auth.login("admin", &password, None).await.unwrap().user.name, "admin");
    let rows = store.list(Table::Users).unwrap();
    assert_eq!(rows.len(), 1);
    assert!(!String::from_utf8_lossy(&rows[0].1).contains(password.as_str()));
}

#[tokio::test]
async fn a_given_password_replaces_the_old_one_and_is_hashed_once() {
    let store = Arc::new(Store::in_memory());
    open(&store, Some(PASSWORD), false);
    let before = store.list(Table::Users).unwrap();
    assert!(matches!(open(&store, Some(PASSWORD), false).first, FirstPassword::Given));
    assert_eq!(store.list(Table::Users).unwrap(), before);
    let changed = open(&store, Some("another horse"), false).auth;
    assert_eq!(changed.verify("admin", PASSWORD, None).await, Err(LoginError::Invalid));
    assert!(changed.verify("admin", "another horse", None).await.is_ok());
}

#[test]
fn a_given_password_that_is_too_short_stops_the_start() {
    let options = AuthOptions { admin_password: Some(Zeroizing::new("admin1234".into())), compat_default_login: false };
    let error = Auth::open(Arc::new(Store::in_memory()), Arc::new(Seal::ephemeral()), Clock::system(), options).map(|_| ()).unwrap_err();
    assert!(format!("{error:#}").contains("12 to 128"), "{error:#}");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_cost_one_hash_each_and_look_alike() {
    let auth = given().auth;
    let before = auth.hashes();
    assert_eq!(auth.login("admin", "wrong horse!", None).await.map(|_| ()), Err(LoginError::Invalid));
    assert_eq!(auth.login("nobody", PASSWORD, None).await.map(|_| ()), Err(LoginError::Invalid));
    assert_eq!(auth.login("admin", "", None).await.map(|_| ()), Err(LoginError::Invalid));
    assert_eq!(auth.hashes() - before, 3);
}

#[tokio::test]
async fn a_session_lasts_until_logout_or_idleness_and_never_hashes() {
    let Opened { auth, hands, .. } = given();
    let (one, two) = (auth.login("admin", PASSWORD, None).await.unwrap(), auth.login("admin", PASSWORD, None).await.unwrap());
    let before = auth.hashes();
    assert_eq!(auth.session(&one.token).map(|user| user.name), Some(one.user.name));
    assert!(auth.logout(&one.token));
    assert!(!auth.logout(&one.token));
    assert_eq!(auth.session(&one.token), None);
    assert!(auth.session(&two.token).is_some());
    hands.advance(SESSION_IDLE_MAX);
    assert_eq!(auth.session(&two.token), None);
    assert_eq!(auth.hashes(), before);
}

#[tokio::test]
async fn a_basic_header_is_hashed_once_until_it_is_idle() {
    let Opened { auth, hands, .. } = given();
    let before = auth.hashes();
    for _ in 0..3 {
        assert_eq!(auth.basic(&header("admin", PASSWORD), None, |_| ()).await.unwrap().name, "admin");
    }
    assert_eq!(auth.hashes() - before, 1);
    hands.advance(SESSION_IDLE_MAX);
    assert!(auth.basic(&header("admin", PASSWORD), None, |_| ()).await.is_ok());
    assert_eq!(auth.hashes() - before, 2);
    for _ in 0..2 {
        assert_eq!(auth.basic(&header("admin", "wrong horse!"), None, |_| ()).await, Err(LoginError::Invalid));
    }
    assert_eq!(auth.hashes() - before, 4);
    assert_eq!(auth.basic("Basic nonsense", None, |_| ()).await, Err(LoginError::Invalid));
    assert_eq!(auth.hashes() - before, 4);
}

#[tokio::test]
async fn many_connections_with_one_new_header_share_one_hash() {
    let auth = given().auth;
    let before = auth.hashes();
    let value = header("admin", PASSWORD);
    let answers = futures(64, || {
        let (auth, value) = (auth.clone(), value.clone());
        async move { auth.basic(&value, None, |_| ()).await }
    });
    for answer in answers.await {
        assert!(answer.is_ok());
    }
    assert_eq!(auth.hashes() - before, 1);
}

#[tokio::test]
async fn a_flood_of_logins_is_answered_busy() {
    let auth = given().auth;
    let answers = futures(64, || {
        let auth = auth.clone();
        async move { auth.verify("admin", "wrong horse!", None).await }
    });
    let busy = answers.await.into_iter().filter(|answer| *answer == Err(LoginError::Busy)).count();
    // One is checked and sixteen wait; a few more come in as those end.
    assert!((1..=64 - 1 - LOGINS_WAITING_MAX).contains(&busy), "{busy}");
    assert!(auth.verify("admin", PASSWORD, None).await.is_ok());
}

#[tokio::test]
async fn who_goes_before_the_answer_has_guessed_all_the_same() {
    let auth = given().auth;
    let source = Some(Source::from(std::net::IpAddr::from([10, 0, 0, 1])));
    let before = auth.hashes();
    for number in 0..60 {
        let so_far = auth.hashes();
        let hashing = async {
            while auth.hashes() == so_far {
                tokio::task::yield_now().await;
            }
        };
        let user = format!("user-{number}");
        tokio::select! {
            refused = auth.login(&user, "wrong horse!", source) => assert!(refused.is_err()),
            () = hashing => {}
        }
    }
    assert_eq!(auth.hashes() - before, throttle::FAILURES_AN_HOUR as u64);
}

#[tokio::test]
async fn a_new_password_ends_what_the_old_one_opened() {
    let auth = given().auth;
    let session = auth.login("admin", PASSWORD, None).await.unwrap();
    let old = header("admin", PASSWORD);
    auth.basic(&old, None, |_| ()).await.unwrap();
    assert!(matches!(auth.set_password("admin", "short").await, Err(UserError::Password(_))));
    assert!(matches!(auth.set_password("nobody", "another horse").await, Err(UserError::Unknown(_))));
    assert!(auth.session(&session.token).is_some());
    auth.set_password("admin", "another horse").await.unwrap();
    assert_eq!(auth.session(&session.token), None);
    assert_eq!(auth.basic(&old, None, |_| ()).await, Err(LoginError::Invalid));
    assert!(auth.basic(&header("admin", "another horse"), None, |_| ()).await.is_ok());
}

#[tokio::test]
async fn the_manuals_login_is_accepted_only_where_it_was_asked_for_and_is_never_stored() {
    let store = Arc::new(Store::in_memory());
    let compat = open(&store, Some(PASSWORD), true).auth;
    assert!(compat.login("admin", "admin1234", None).await.is_ok());
    assert!(compat.basic(&header("admin", "admin1234"), None, |_| ()).await.is_ok());
    assert!(compat.login("admin", PASSWORD, None).await.is_ok());
    assert!(compat.login("root", "admin1234", None).await.is_err());
    let strict = open(&store, None, false).auth;
    assert_eq!(strict.verify("admin", "admin1234", None).await, Err(LoginError::Invalid));
}

#[tokio::test]
async fn users_and_their_rights_are_kept_and_a_change_holds_at_once() {
    let store = Arc::new(Store::in_memory());
    let auth = open(&store, Some(PASSWORD), false).auth;
    auth.add_user("eve", PASSWORD, Rights::of(Role::Operator)).await.unwrap();
    assert!(matches!(auth.add_user("eve", PASSWORD, Rights::of(Role::Viewer)).await, Err(UserError::Exists(_))));
    for name in ["", "a b", "a/b", "a:b", "..", &"a".repeat(65)] {
        assert!(matches!(auth.add_user(name, PASSWORD, Rights::of(Role::Viewer)).await, Err(UserError::Name(_))), "{name}");
    }
    let session = auth.login("eve", PASSWORD, None).await.unwrap();
    assert!(session.user.rights.may(Permission::ThingsWrite));
    auth.set_rights("eve", Rights::of(Role::Viewer)).await.unwrap();
    assert!(!auth.session(&session.token).unwrap().rights.may(Permission::ThingsWrite));

    let again = open(&store, None, false).auth;
    let names: Vec<_> = again.users().into_iter().map(|(name, rights)| (name, rights.role)).collect();
    assert_eq!(names, [("admin".to_owned(), Role::Admin), ("eve".to_owned(), Role::Viewer)]);
    let session = again.login("eve", PASSWORD, None).await.unwrap();
    again.delete_user("eve").await.unwrap();
    assert_eq!(again.session(&session.token), None);
    assert_eq!(again.login("eve", PASSWORD, None).await.map(|_| ()), Err(LoginError::Invalid));
    // The next of this name begins anew.
    again.add_user("eve", PASSWORD, Rights::of(Role::Admin)).await.unwrap();
    assert_eq!(again.session(&session.token), None);
}

#[tokio::test]
async fn admin_stays_what_it_is() {
    let auth = given().auth;
    assert!(matches!(auth.set_rights("admin", Rights::of(Role::Viewer)).await, Err(UserError::Admin)));
    assert!(matches!(auth.delete_user("admin").await, Err(UserError::Admin)));
}

/// Runs `count` futures at the same time.
async fn futures<T: Send + 'static, F: Future<Output = T> + Send + 'static>(count: usize, one: impl Fn() -> F) -> Vec<T> {
    let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(one())).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}
