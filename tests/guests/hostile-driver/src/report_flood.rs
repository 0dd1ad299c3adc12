//! Reports for ever, whatever it is answered.

use ledge_sdk::Error;
use ledge_sdk::thing_access::Thing;

pub async fn run(thing: &Thing) -> Result<(), Error> {
    loop {
        let _ = thing.report_properties([("Number", 1)]).await;
    }
}
