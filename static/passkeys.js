// Passkeys: a form marked data-passkey is sent with what the browser says of one. What it asks the browser for stands on
// the page (data-options), or is fetched from where the form is sent to. webauthn-json.js comes with allauth.

const TOLD = {
  NotAllowedError: "Nothing was done: it was cancelled, took too long, or this device has no passkey for the portal.",
  InvalidStateError: "This device has a passkey for your account already.",
  NotSupportedError: "This device cannot make a passkey. Try another one, or an app that shows codes.",
  ConstraintError: "This device cannot ask for a finger, face or PIN. Set that up first, or try another one.",
  SecurityError: "Passkeys work only at the portal\u2019s own address. Look at what stands in your browser\u2019s address bar.",
};
const NO_PASSKEYS = "This browser knows no passkeys. Try another one, or go on without.";
const FAILED = "The passkey could not be used just now. Try once more.";

async function optionsOf(form) {
  if (form.dataset.options) return JSON.parse(document.getElementById(form.dataset.options).textContent);
  const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
}

// One that signs in alone: the device keeps whose it is, and asks for a finger, face or PIN.
function alone(options) {
  const wanted = { ...options.publicKey.authenticatorSelection, residentKey: "required", requireResidentKey: true, userVerification: "required" };
  return { ...options, publicKey: { ...options.publicKey, authenticatorSelection: wanted } };
}

async function credentialOf(form) {
  const options = await optionsOf(form);
  if (form.dataset.passkey === "new") return webauthnJSON.create(alone(options.creation_options));
  return webauthnJSON.get(options.request_options);
}

async function send(form) {
  const trouble = form.querySelector("[data-trouble]");
  trouble.hidden = true;
  if (!window.PublicKeyCredential) {
    trouble.textContent = NO_PASSKEYS;
    trouble.hidden = false;
    return;
  }
  try {
    form.elements.credential.value = JSON.stringify(await credentialOf(form));
    form.submit();
  } catch (error) {
    trouble.textContent = TOLD[error.name] || FAILED;
    trouble.hidden = false;
  }
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}
