// Asks for the service's token in a dialog; api.js keeps it as long as the tab is open.

import { ApiError } from "./api.js";
import { byId } from "./elements.js";

export function askForToken(wrongBefore) {
  const dialog = byId("token-dialog");
  byId("token-wrong").hidden = !wrongBefore;
  byId("token").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      const token = byId("token").value.trim();
      if (dialog.returnValue === "use" && token) resolve(token);
      else reject(new ApiError("This service answers only with its token.", 401));
    }, { once: true });
  });
}
