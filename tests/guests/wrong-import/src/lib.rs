//! A function that imports an interface outside the contract: it must be refused when it is deployed.

use ledge_sdk::Error;
use ledge_sdk::handler::Context;

wit_bindgen::generate!({
    inline: "
        package other:thing@1.0.0;
        interface api { touch: func(); }
        world uses { import api; }
    ",
});

ledge_sdk::function!(handle);

fn handle(event: Vec<u8>, _context: Context) -> Result<Vec<u8>, Error> {
    other::thing::api::touch();
    Ok(event)
}
