import { post } from "./api.js";
import { dress, sentence } from "./page.js";

const [form, key, problem] = ["login", "key", "problem"].map((id) => document.getElementById(id));

/** Only pages of this server; anything else could send people away with a fresh session. */
function destination() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  return ["/", "/content"].includes(next) ? next : "/";
}

dress("login.title");
key.focus();
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.hidden = true;
  try {
    await post("/api/admin/login", { key: key.value });
    location.assign(destination());
  } catch (error) {
    problem.textContent = sentence(error);
    problem.hidden = false;
    key.select();
  }
});
